import numpy as np
from PIL import Image

from kcolor import pictures


def test_grid_lays_out_in_rows():
    cells = [[np.full((3, 5, 3), 10 * row + column, np.uint8) for column in range(2)] for row in range(3)]
    sheet = pictures.grid(cells)
    assert sheet.shape == (3 * 7 + 4, 2 * 9 + 4, 3)
    assert (sheet[11:14, 13:18] == 11).all()  # second row, second column
    assert (sheet[:4] == 255).all()


def test_curves_are_drawn_from_a_history(tmp_path):
    history = [
        {"epoch": i, "step": i, "critic": 1.0 / i, "reconstruction": 0.1, "val_grey_reconstruction": 0.2}
        for i in (1, 2, 3)
    ]
    pictures.curves(tmp_path / "curves.png", history)
    with Image.open(tmp_path / "curves.png") as drawn:
        ink = np.asarray(drawn.convert("L")) < 128
    assert ink.any()
    blank = tmp_path / "one.png"
    pictures.curves(blank, history[:1])
    assert blank.is_file()
