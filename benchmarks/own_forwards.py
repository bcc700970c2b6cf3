"""OwnForwards: the seconds that networks spend in their own forward passes while a profile runs, by hooks on their first and last layers."""

from collections.abc import Callable, Iterable
from typing import Any

from curate.embedding.features import CaptionEmbedding, ClipCaption, ClipPictures, EfficientNet
from curate.scorers.watermark import Watermark

PARTS: dict[type, Callable[[Any], tuple[Any, Any]]] = {
    EfficientNet: lambda part: (part._network.conv_stem, part._network.classifier),
    CaptionEmbedding: lambda part: (part._encoder._layers, part._encoder._layers),
    ClipPictures: lambda part: (part._tower._network.visual, part._tower._network.visual),
    ClipCaption: lambda part: (part._tower._network.transformer, part._tower._network.transformer),
    Watermark: lambda part: (part._judge.network, part._judge.network),
}
"""Where the networks of a feature or scorer begin and end; those of ONNX Runtime are seen by its session."""


class OwnForwards:
    """Adds up what networks take, between their beginnings and their ends, by the clock it is given; `seconds` may be set back to 0."""

    def __init__(self, parts: Iterable[Any], clock: Callable[[], float]) -> None:
        self.seconds = 0.0
        self._clock, self._began = clock, 0.0
        for part in parts:
            if type(part) in PARTS:
                first, last = PARTS[type(part)](part)
                first.register_forward_pre_hook(lambda *_: self._begin())
                last.register_forward_hook(lambda *_: self._end())
        self._watch_onnx()

    def _begin(self) -> None:
        self._began = self._clock()

    def _end(self) -> None:
        self.seconds += self._clock() - self._began

    def _watch_onnx(self) -> None:
        from onnxruntime import InferenceSession

        run = InferenceSession.run

        def timed(session: Any, *given: Any, **named: Any) -> Any:
            self._begin()
            made = run(session, *given, **named)
            self._end()
            return made

        InferenceSession.run = timed
