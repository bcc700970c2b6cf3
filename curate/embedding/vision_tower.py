"""VisionTower: the picture half of a CLIP checkpoint, for predictors that bring their own."""

import json
from pathlib import Path

from curate.embedding.clip_tower import PictureTower, renamed, vision_settings
from curate.models import ModelError

OF_PICTURES = ("vision_model.", "visual_projection.")


class VisionTower(PictureTower):
    """Embeds pictures with a checkpoint in transformers' layout (`CLIPVisionModelWithProjection`), whatever else the file holds; half precision on a GPU.

    Raises:
        ModelError: the checkpoint and its configuration do not fit together.
    """

    def __init__(self, checkpoint: Path, config: Path) -> None:
        import torch
        from open_clip.transformer import QuickGELU, VisionTransformer
        from safetensors.torch import load_file

        told = json.loads(config.read_text("utf-8"))
        sizes = vision_settings(told)
        width, head_width = sizes.pop("width"), sizes.pop("head_width")
        activation = QuickGELU if told["hidden_act"] == "quick_gelu" else torch.nn.GELU
        network = VisionTransformer(**sizes, width=width, heads=width // head_width, output_dim=told["projection_dim"], act_layer=activation)
        stored = {name: tensor for name, tensor in load_file(checkpoint).items() if name.startswith(OF_PICTURES)}
        try:
            network.load_state_dict({name.removeprefix("visual."): tensor for name, tensor in renamed(stored).items()})
        except RuntimeError as error:
            raise ModelError(f"{checkpoint} does not hold the picture half of CLIP that {config} describes: {error}") from error
        super().__init__(network, told["image_size"])
