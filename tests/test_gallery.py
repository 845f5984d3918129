"""The gallery: a short run writes a page whose pictures are all there."""

import re
import xml.etree.ElementTree as ET

import pytest
from scripts import MATPLOTLIB, run_in_a_pipe


@pytest.mark.skipif(not MATPLOTLIB, reason="matplotlib is not installed")
def test_all_pictures_of_the_page_are_there(tmp_path):
    printed = run_in_a_pipe("gallery.py", "--steps", "1", "--epochs", "1", folder=tmp_path)
    assert printed.endswith("The page is gallery/index.html.\n")
    folder = tmp_path / "gallery"
    page = (folder / "index.html").read_text()
    pictures = re.findall(r'(?:src|href)="([^"]+)"', page)
    assert {"thinned_nets.png", "masks.png", "features.png", "moons_5.png"} <= {*pictures}
    for name in [*pictures, *(f"moons_{i}.png" for i in range(9))]:
        assert (folder / name).stat().st_size > 500
    if "graph.svg" in pictures:
        ET.parse(folder / "graph.svg")
