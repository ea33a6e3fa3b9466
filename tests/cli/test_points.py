"""What is written can be read again, in every format; odd but good files are understood."""

import numpy as np
import pytest

from manifold_diffusion.cli.points import read_points, to_degrees, write_points
from tests.evaluation.clouds import sphere

GOOD = sphere(50, 2, 0)


@pytest.mark.parametrize("ending", [".npy", ".npz", ".csv", ".parquet"])
def test_formats_round_trip_to_the_last_bit(tmp_path, ending):
    write_points(tmp_path / f"a{ending}", GOOD, latlon=False)
    np.testing.assert_array_equal(read_points(tmp_path / f"a{ending}").rows, GOOD)
    assert [p.name for p in tmp_path.iterdir()] == [f"a{ending}"]


@pytest.mark.parametrize("ending", [".npy", ".csv"])
def test_degrees_round_trip_on_the_sphere(tmp_path, ending):
    write_points(tmp_path / f"a{ending}", 3 * GOOD, latlon=True)
    np.testing.assert_allclose(read_points(tmp_path / f"a{ending}", latlon=True).rows, GOOD, atol=1e-15)


def test_degrees_are_where_one_expects_them():
    places = np.array([[1.0, 0, 0], [0, 1.0, 0], [0, 0, 1.0], [0, 0, -1.0]])
    np.testing.assert_allclose(to_degrees(places)[:, 0], [0, 0, 90, -90], atol=1e-12)
    np.testing.assert_allclose(to_degrees(places)[:2, 1], [0, 90], atol=1e-12)


@pytest.mark.parametrize(
    "text",
    [
        "1,2\n3,4\n5,7\n",
        "x,y\n1,2\n3,4\n5,7\n",
        "\ufeffx,y\r\n1,2\r\n3,4\r\n5,7\r\n",
        "# source: somewhere\n\n1;2\n3;4 # a remark\n\n5;7\n",
        "1\t2\n3\t4\n5\t7",
        "  1 2\n3   4\n5 7\n",
        '"x 1","x 2"\n"1","2"\n"3","4"\n"5","7"\n',
        "1e0,2.0\n+3,4\n5,7\n",
    ],
)
def test_text_of_many_kinds(tmp_path, text):
    (tmp_path / "a.csv").write_bytes(text.encode())
    np.testing.assert_array_equal(read_points(tmp_path / "a.csv").rows, [[1, 2], [3, 4], [5, 7]])


def test_latitude_and_longitude_are_found_by_name(tmp_path):
    (tmp_path / "a.csv").write_text("time,Longitude,LATITUDE\nmonday,90,0\ntuesday,0,90\n")
    np.testing.assert_allclose(read_points(tmp_path / "a.csv", latlon=True).rows, [[0, 1, 0], [0, 0, 1]], atol=1e-15)


@pytest.mark.parametrize("dtype", [np.float32, np.float16, np.int64, np.uint8, np.bool_])
def test_every_kind_of_number_is_read(tmp_path, dtype):
    rows = np.array([[0, 1], [1, 1], [1, 0]], dtype)
    np.save(tmp_path / "a.npy", rows)
    found = read_points(tmp_path / "a.npy").rows
    assert found.dtype == np.float64
    np.testing.assert_array_equal(found, rows)


def test_an_array_is_chosen_by_name(tmp_path):
    np.savez_compressed(tmp_path / "a.npz", x=GOOD, y=2 * GOOD)
    np.testing.assert_array_equal(read_points(tmp_path / "a.npz", array="y").rows, 2 * GOOD)


def test_what_is_remarkable_is_said(tmp_path):
    rows = np.concatenate([GOOD, GOOD[:3]])
    rows = np.concatenate([rows, rows[:, :1], np.ones((53, 1))], axis=1)
    rows[4, 0] = np.nan
    np.save(tmp_path / "a.npy", rows)
    found = read_points(tmp_path / "a.npy", drop_bad=True)
    notes = "\n".join(found.notes)
    assert found.dropped == 1
    assert len(found.rows) == 52
    assert "dropped 1 rows" in notes
    assert "column 5 is constant" in notes
    assert "1 columns repeat another" in notes
    assert "3 of 52 points repeat another" in notes


def test_a_good_file_is_not_remarked_upon(tmp_path):
    np.save(tmp_path / "a.npy", GOOD)
    assert read_points(tmp_path / "a.npy").notes == ()
