"""The U-Net: shapes on any grid, and what it must commute with."""

import pytest
import torch

from crosstune.nn.unet import FieldUNet


@pytest.mark.parametrize("sizes", [(64,), (50,), (7,), (1,), (32, 32), (21, 34), (5, 3)])
@pytest.mark.parametrize("periodic", [False, True])
def test_the_grid_of_the_answer_is_that_of_the_input(sizes, periodic):
    net = FieldUNet(2, 3, axes=len(sizes), width=4, periodic=periodic)
    out = net(torch.randn(5, 2, *sizes))
    assert out.shape == (5, 3, *sizes)
    out.square().sum().backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in net.parameters())


@pytest.mark.parametrize("sizes", [(64,), (32, 48)])
def test_shifts_by_whole_blocks_go_through_where_fields_are_periodic(sizes):
    torch.manual_seed(0)
    net = FieldUNet(1, 2, axes=len(sizes), width=4, depth=3, periodic=True)
    x = torch.randn(2, 1, *sizes)
    with torch.no_grad():
        for axis in range(2, x.ndim):
            torch.testing.assert_close(net(x.roll(8, axis)), net(x).roll(8, axis), rtol=0, atol=1e-5)
            assert not torch.allclose(net(x.roll(4, axis)), net(x).roll(4, axis), atol=1e-3)
        walled = FieldUNet(1, 2, axes=len(sizes), width=4, depth=3, periodic=False)
        assert not torch.allclose(walled(x.roll(8, 2)), walled(x).roll(8, 2), atol=1e-3)


def test_rows_do_not_meet():
    """The answer for a row does not depend on the rows beside it, so that a test batch cannot leak."""
    net = FieldUNet(1, 1, axes=2, width=4)
    x = torch.randn(4, 1, 16, 16)
    with torch.no_grad():
        torch.testing.assert_close(net(x)[:1], net(x[:1]), rtol=0, atol=1e-5)


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_every_point_sees_as_far_as_the_depth_promises(depth):
    """Influence of one input point: within the reach of the convolutions on the coarsest level, and not beyond."""
    torch.manual_seed(0)
    net = FieldUNet(1, 1, axes=1, width=4, depth=depth, periodic=True)
    for module in net.modules():  # norms reach over the whole field
        if isinstance(module, torch.nn.GroupNorm):
            module.forward = lambda x: x  # type: ignore[method-assign]
    x = torch.zeros(1, 1, 256, requires_grad=True)
    net(x)[0, 0, 128].backward()
    reach = torch.nonzero(x.grad[0, 0])[:, 0] - 128
    far = 2 * sum(2 * 2**level for level in range(depth)) + 2 * 2**depth + 2 ** (depth + 1)
    assert 2 * 2**depth <= reach.abs().max() <= far


def test_volumes_are_refused():
    with pytest.raises(ValueError, match="on 3 axes"):
        FieldUNet(1, 1, axes=3, width=4)
