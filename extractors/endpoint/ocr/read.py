"""Pictures in, words out: RapidOCR in as many threads as there are cores, each with an engine of its own.

An engine has one thread of its own: on two cores, two engines of one thread read a quarter to a third more in a second
than one engine of two.
"""

from __future__ import annotations

import asyncio
import math
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from PIL import Image

from extractors.endpoint.ocr.page_words import Piece
from extractors.endpoint.ocr.words import Line, OcrDocument, Seen, group_lines, turn_upright
from extractors.endpoint.refusal import RequestError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from extractors.endpoint.answer import Answer
    from extractors.endpoint.ocr.picture import Picture
    from extractors.endpoint.ocr.words import Quad

_LONGEST = 4096  # px; a long till receipt keeps its pixels
_PIXELS = 2240 * 2240
_RATIO = 5
_LONG_PIECE = 3  # letters: a shorter piece may be higher than wide on an upright page
_TURNS = (Image.Transpose.ROTATE_90, Image.Transpose.ROTATE_270)
_UPRIGHT_SCORE = 0.85  # a page on its head is read with 0.65 to 0.78, an upright one with 0.94 and more
_ENGINE = {
    "Global.log_level": "critical",
    "Global.use_cls": False,  # pictures arrive upright; asking each word whether it stands on its head costs time
    "Global.max_side_len": _LONGEST,
    "Rec.rec_batch_num": 2,  # on a processor a batch gains nothing, and its shorter words are padded
    "EngineConfig.onnxruntime.intra_op_num_threads": 1,
    "EngineConfig.onnxruntime.inter_op_num_threads": 1,
}


class Ocr:
    """A few OCR engines behind a queue that refuses what it could only keep waiting."""

    def __init__(self, workers: int | None = None) -> None:
        self._load_rapidocr = _load_rapidocr()
        self._workers = workers or os.cpu_count() or 1
        self._pool = ThreadPoolExecutor(self._workers, thread_name_prefix="ocr")
        self._engines = threading.local()
        self._taken = 0

    async def read(self, pictures: tuple[Picture, ...], then: Callable[[OcrDocument], Answer]) -> Answer:
        """The words of all pictures, in order, handed to `then` in the same thread. Refuses when too much waits."""
        if self._taken >= 2 * self._workers:
            raise RequestError("overloaded: too many requests are waiting to be read", status=503, code="overloaded")
        self._taken += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, self._read_pictures, pictures, then)
        finally:
            self._taken -= 1

    def _read_pictures(self, pictures: tuple[Picture, ...], then: Callable[[OcrDocument], Answer]) -> Answer:
        return then(OcrDocument(tuple(self._read_page(picture) for picture in pictures)))

    def _read_page(self, picture: Picture) -> tuple[Line, ...]:
        import numpy as np  # noqa: PLC0415  comes with the extra, so only where the extra is used

        red_green_blue = np.asarray(_limit_size(picture.pixels()))
        result = self._engine()(np.ascontiguousarray(red_green_blue[:, :, ::-1]))
        if result.boxes is None or result.txts is None:
            return ()
        return group_lines(turn_upright(_iter_seen(result)))

    def _engine(self) -> Any:
        if not hasattr(self._engines, "one"):
            self._engines.one = self._load_rapidocr(params=dict(_ENGINE))
        return self._engines.one


def read_pieces(image: Image.Image) -> list[Piece]:
    """The pieces of text of one picture with their words, read by the one engine of this process.

    The words of a picture that stands on its side or on its head are placed as in the picture.
    """
    pieces = _read_pieces(image)
    if _is_on_its_side(pieces):
        turned = [(turn, _read_pieces(image.transpose(turn))) for turn in _TURNS]
        turn, best = max(turned, key=lambda each: _sum_scores(each[1]))
        return [_turn_back(piece, turn, image.size) for piece in best]
    if _sum_scores(pieces) < _UPRIGHT_SCORE * sum(len(piece.text) for piece in pieces):
        turn = Image.Transpose.ROTATE_180
        other = _read_pieces(image.transpose(turn))
        if _sum_scores(other) > _sum_scores(pieces):
            return [_turn_back(piece, turn, image.size) for piece in other]
    return pieces


def _read_pieces(image: Image.Image) -> list[Piece]:
    import numpy as np  # noqa: PLC0415  as above

    limited = _limit_size(image.convert("RGB"))
    result = _load_engine()(np.ascontiguousarray(np.asarray(limited)[:, :, ::-1]), return_word_box=True)
    if result.boxes is None or result.txts is None:
        return []
    scale = limited_scale(*image.size)
    words = result.word_results or ((),) * len(result.txts)
    return [
        Piece(
            text,
            _rescale(quad, scale),
            float(score),
            [(word[0], _rescale(word[2], scale)) for word in found if word[2]],
        )
        for text, quad, score, found in zip(result.txts, result.boxes.tolist(), result.scores, words, strict=True)
    ]


@lru_cache(maxsize=1)
def _load_engine() -> Any:
    return _load_rapidocr()(params=dict(_ENGINE))


def _sum_scores(pieces: Sequence[Piece]) -> float:
    """How much was read, and how surely: each letter with the score of its piece."""
    return sum(piece.score * len(piece.text) for piece in pieces)


def _is_on_its_side(pieces: Sequence[Piece]) -> bool:
    """Whether most pieces of several letters are higher than wide."""
    long = [piece for piece in pieces if len(piece.text) > _LONG_PIECE]
    upright = sum(_measure(piece.quad, 0) >= _measure(piece.quad, 1) for piece in long)
    return len(long) > 2 and 2 * upright < len(long)


def _measure(quad: Quad, axis: int) -> float:
    along = [corner[axis] for corner in quad]
    return max(along) - min(along)


def _turn_back(piece: Piece, turn: Image.Transpose, size: tuple[int, int]) -> Piece:
    """A piece of the turned picture with the corners that it has in the picture."""
    words = [(text, _turn_corners(quad, turn, size)) for text, quad in piece.words]
    return Piece(piece.text, piece.quad, piece.score, words, _turn_corners(piece.quad, turn, size))


def _turn_corners(quad: Quad, turn: Image.Transpose, size: tuple[int, int]) -> Quad:
    width, height = size
    if turn == Image.Transpose.ROTATE_90:  # counter-clockwise: the right edge has become the top
        return [(width - y, x) for x, y in quad]
    if turn == Image.Transpose.ROTATE_180:
        return [(width - x, height - y) for x, y in quad]
    return [(y, height - x) for x, y in quad]


def _rescale(quad: Quad, scale: float) -> Quad:
    return [(x / scale, y / scale) for x, y in quad]


def limited_scale(width: int, height: int) -> float:
    """The scale at which a picture of this size is read."""
    return min(1.0, _LONGEST / max(width, height), math.sqrt(_PIXELS / (width * height)))


def _iter_seen(result: Any) -> Iterator[Seen]:
    """What an engine has read; Any: it ships no types."""
    for text, quad, score in zip(result.txts, result.boxes.tolist(), result.scores, strict=True):
        yield Seen(text, quad, float(score))


def _limit_size(image: Image.Image) -> Image.Image:
    """The picture within what one engine reads in a bounded space.

    The detector enlarges the shorter side to 736 px, which would make a line of 3000x2 a million pixels wide: a picture
    that is much longer than wide gets a white margin, right or below, where it moves no word.
    """
    scale = limited_scale(*image.size)
    if scale < 1:
        width, height = (max(1, round(side * scale)) for side in image.size)
        image = image.resize((width, height), Image.Resampling.LANCZOS)
    least = max(image.size) // _RATIO
    if min(image.size) >= least:
        return image
    page = Image.new("RGB", (max(image.width, least), max(image.height, least)), "white")
    page.paste(image)
    return page


def _load_rapidocr() -> Any:
    """RapidOCR's class; it ships no types. Imported late, as it is an extra and takes half a second."""
    from rapidocr import RapidOCR  # noqa: PLC0415

    return RapidOCR
