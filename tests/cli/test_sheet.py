from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("PIL")

from headrace.cli.sheet import GUTTER, LABEL_HEIGHT, MARGIN, NOT_A_NUMBER, PAPER, contact_sheet
from headrace.errors import ArgumentError


def _pixels(*args: Any, **kwargs: Any) -> Any:
    return np.asarray(contact_sheet(*args, **kwargs))


def _cell(sheet: Any, row: int, column: int, height: int, width: int, top: int = MARGIN) -> Any:
    y = top + row * (height + LABEL_HEIGHT)
    x = MARGIN + column * (width + GUTTER)
    return sheet[y : y + height, x : x + width]


RGB = np.random.default_rng(0).integers(0, 256, (6, 2, 3, 3), dtype=np.uint8)


def test_every_pixel_lands_where_it_should() -> None:
    sheet = _pixels(RGB, range(6), columns=3, scale=5)
    for number, image in enumerate(RGB):
        cell = _cell(sheet, *divmod(number, 3), height=10, width=15)
        assert (cell == image.repeat(5, axis=0).repeat(5, axis=1)).all()


def test_labels_are_dark_text_on_paper_under_their_images() -> None:
    sheet = _pixels(RGB, ["7", "", "8", "9", "1", "2"], columns=3, scale=5)
    strips = [
        sheet[MARGIN + 10 : MARGIN + 10 + LABEL_HEIGHT, left : left + 15]
        for left in range(MARGIN, MARGIN + 3 * (15 + GUTTER), 15 + GUTTER)
    ]
    assert [strip.min() < 110 for strip in strips] == [True, False, True]
    assert (strips[1] == PAPER).all()
    assert (strips[0] != strips[2]).any()


def test_the_title_stands_above_and_fits() -> None:
    title = "a title much wider than the one small image below it"
    sheet = _pixels(RGB[:1], ["0"], scale=1, title=title)
    plain = _pixels(RGB[:1], ["0"], scale=1)
    assert sheet.shape[0] > plain.shape[0]
    assert sheet.shape[1] > plain.shape[1]
    assert (sheet[MARGIN : MARGIN + 22].min(axis=(0, 2)) < 100).any()
    assert (sheet[:, -MARGIN:] == PAPER).all()


@pytest.mark.parametrize(
    ("image", "layout"),
    [
        (RGB[0], None),
        (RGB[0], "HWC"),
        (RGB[0].transpose(2, 0, 1), "CHW"),
        (RGB[0].transpose(2, 0, 1) / 255, None),
        ((RGB[0].transpose(2, 0, 1) / 255).astype(np.float32), None),
        (RGB[0] / 255, "HWC"),
    ],
)
def test_layouts_look_the_same(image: Any, layout: Any) -> None:
    sheet = _pixels([image], [""], scale=1, layout=layout)
    assert (_cell(sheet, 0, 0, 2, 3) == RGB[0]).all()


@pytest.mark.parametrize("shape", [(2, 3), (2, 3, 1), (1, 2, 3)])
def test_grey_images(shape: tuple[int, ...]) -> None:
    grey = np.arange(0, 240, 40).reshape(shape)
    layout: Any = {2: "HW", 3: "CHW" if shape[0] == 1 else "HWC"}[len(shape)]
    sheet = _pixels([grey], [""], scale=1, layout=layout, value_range=(0, 255))
    assert (_cell(sheet, 0, 0, 2, 3) == grey.reshape(2, 3, 1)).all()


def test_floats_outside_0_and_1_are_stretched_over_the_whole_sheet() -> None:
    sheet = _pixels([np.full((2, 3), -2.0), np.full((2, 3), 3.0)], ["", ""], columns=2, scale=1)
    assert (_cell(sheet, 0, 0, 2, 3) == 0).all()
    assert (_cell(sheet, 0, 1, 2, 3) == 255).all()


def test_value_range_sets_black_and_white() -> None:
    image = np.array([[0, 8, 16, 200]], dtype=np.uint8)
    sheet = _pixels([image], [""], scale=1, value_range=(0, 16))
    assert _cell(sheet, 0, 0, 1, 4)[0, :, 0].tolist() == [0, 128, 255, 255]


def test_one_value_everywhere_is_no_division_by_zero() -> None:
    sheet = _pixels([np.full((2, 3), 7.0)], [""], scale=1)
    assert (_cell(sheet, 0, 0, 2, 3) == 0).all()


def test_what_is_not_a_number_stands_out() -> None:
    image = np.array([[0.0, np.nan, np.inf, 1.0]])
    sheet = _pixels([image], [""], scale=1)
    assert _cell(sheet, 0, 0, 1, 4)[0].tolist() == [[0] * 3, [*NOT_A_NUMBER], [*NOT_A_NUMBER], [255] * 3]
    nothing_else = _pixels([image[:, 1:3]], [""], scale=1)
    assert (_cell(nothing_else, 0, 0, 1, 2) == NOT_A_NUMBER).all()


def test_clear_pixels_show_the_paper() -> None:
    image = np.zeros((1, 2, 4), dtype=np.uint8)
    image[0, 1, 3] = 255
    sheet = _pixels([image], [""], scale=1)
    assert _cell(sheet, 0, 0, 1, 2)[0].tolist() == [[*PAPER], [0, 0, 0]]


def test_smaller_images_stand_in_the_middle_at_the_bottom() -> None:
    images = [np.zeros((4, 6), dtype=np.uint8), np.zeros((2, 2), dtype=np.uint8)]
    cell = _cell(_pixels(images, ["", ""], columns=2, scale=1), 0, 1, 4, 6)
    assert (cell[2:, 2:4] == 0).all()
    assert (cell[:2] == PAPER).all()
    assert (cell[:, :2] == PAPER).all()
    assert (cell[:, 4:] == PAPER).all()


def test_small_images_are_enlarged_and_large_ones_are_not() -> None:
    digit = np.zeros((8, 8), dtype=np.uint8)
    photo = np.zeros((300, 400, 3), dtype=np.uint8)
    assert contact_sheet([digit], [0]).width == 96 + 2 * MARGIN
    assert contact_sheet([photo], [0]).width == 400 + 2 * MARGIN


def test_labels_of_any_kind_and_length_stay_inside() -> None:
    images = np.zeros((3, 8, 8), dtype=np.uint8)
    sheet = _pixels(images, ["a label that is far too long for it", 3.25, "two\nlines"], columns=3)
    assert (sheet[:, : MARGIN - GUTTER // 2] == PAPER).all()
    assert sheet.shape == _pixels(images, ["", "", ""], columns=3).shape


def test_the_same_images_are_the_same_bytes() -> None:
    assert contact_sheet(RGB, range(6)).tobytes() == contact_sheet(list(RGB), list(range(6))).tobytes()


@pytest.mark.parametrize(
    ("images", "labels", "options", "message"),
    [
        ([], [], {}, "at least one image"),
        (RGB, [1, 2], {}, "got 6 images and 2 labels"),
        (RGB, range(6), {"columns": 0}, "columns must be at least 1, got 0"),
        (RGB, range(6), {"scale": -1}, "scale must be at least 1, got -1"),
        ([np.zeros(4)], [0], {}, r"2 or 3 axes .* got shape \(4,\)"),
        ([np.zeros((5, 6, 7))], [0], {}, "1, 3 or 4 channels, got 5 with layout CHW"),
        ([np.zeros((5, 6))], [0], {"layout": "CHW"}, r"layout CHW cannot have shape \(5, 6\)"),
        ([np.zeros((0, 6))], [0], {}, r"layout HW cannot have shape \(0, 6\)"),
    ],
)
def test_what_cannot_be_drawn_is_said(images: Any, labels: Any, options: Any, message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        contact_sheet(images, labels, **options)
