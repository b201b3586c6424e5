"""Files that appear under their name only when they are complete."""

from concurrent.futures import ThreadPoolExecutor

from upramp.models import replacing


def test_only_what_killed_writers_have_left_is_removed(tmp_path):
    path = tmp_path / "x.fits"
    left, other = tmp_path / ".x.fits.0123456789ab.part", tmp_path / ".y.fits.0123456789ab.part"
    left.write_bytes(b"half")
    other.write_bytes(b"half")
    with replacing(path) as first:
        first.write(b"first")
        assert not left.exists()
        with replacing(path) as second:
            second.write(b"second")
        assert path.read_bytes() == b"second"
    assert path.read_bytes() == b"first"
    assert {file.name for file in tmp_path.iterdir()} == {"x.fits", other.name}


def test_writers_of_one_name_at_once(tmp_path):
    """None takes the file of another for abandoned, however shortly it has been there or is to be."""
    path = tmp_path / "x.fits"

    def write(number):
        with replacing(path) as handle:
            handle.write(b"%d" % number)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write, range(2000)))
    assert 0 <= int(path.read_bytes()) < 2000
    assert [file.name for file in tmp_path.iterdir()] == ["x.fits"]
