from crosstune.experiment.binding import bind, choose
from crosstune.experiment.request import Request


def test_classes_are_weighted_and_the_recipe_is_used_by_the_method_it_belongs_to(tmp_path):
    choice = choose("openml/credit-g", str(tmp_path), protocol="shipped")
    weighted = {"fit.class_weights": "balanced"}
    assert bind(Request(method="finetune", task=choice), choice).task.settings == weighted
    settings = bind(Request(method="recraft-reference", task=choice), choice).task.settings
    assert settings["fit.body_rate"] == 1e-5
    assert (settings["fit.batch_size"], settings["fit.optimiser"]) == (64, "adam")
    assert settings["fit.class_weights"] == "balanced"
