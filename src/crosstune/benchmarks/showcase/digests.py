"""sha256 over the values of the data sets that packages ship: another release with other values is noticed."""

DIGESTS = {
    "acsf1": "92f15bf061680f36db6faff8f64a060fb0c3315a0f3e2015bf03fddba14f6d30",
    "arrow-head": "4cd0260dc8aaa254eb40416477faaf0f7c6b66f357831a7dd3a9024f579dbb67",
    "basic-motions": "5c1893120831975aba0a2bda445d04518490fcf56607b8c99f32740c8cb97f70",
    "breast-cancer": "f86286b06e0eb4fbbb699d6ba5df7f1432e65642369ae111d0e47b47d02338bc",
    "cardano": "41149a9c9986854dbfd2ce226aa220530d1019b06fcf9c985a724c437ed9222d",
    "covid": "72e1a3f08575023630e8ca4328e30cf174634bc1bf330fca254864c8a0e12414",
    "diabetes": "dfe8bf10292413576e3fd58c22ce77ad4ab87ab7db3990a2780b756ac685c9dd",
    "digits": "faf2d98f61250c1cdc0b114323133d3c58da04f5c5d28bb78e4bde3c936a75b1",
    "gun-point": "72abe661f3d38703b0e198edc6c4f36e528259f29dee156f2dc199ae6931b9b3",
    "iris": "879b81724528964779983358162a724401de00141f8cb9c922d27f908396b8c7",
    "italy-power": "c8c9e2768f81a73ee0592977bb5a5609fe1d3e3e622dca4431af81bb628af74a",
    "japanese-vowels": "7d4110a39e5e0b600f8299f7fdc4fed0dc667ac799e3f3451dc0fa6f38a9c9df",
    "osu-leaf": "742986a01292fbce25db150f7818201b5ccf029a89924f73c51730cfc3a4c452",
    "pickup-gesture": "78f4d7b08e0d26659d70a44b7a9610b9fdbc313a46c0e9a5016d2e795e925c33",
    "wine": "300d849b9eb766c3058bcebb4f806f42766e213cbcd8402c411d3d592747e011",
}
