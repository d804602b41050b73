"""Headers that came with images: of how many files, and of which."""

from triage_agent.imaging.isolated.headers import KeptHeaders, identity


def written(path, content):
    path.write_bytes(content)
    return path


def test_the_last_files_headers_are_kept_and_no_more(tmp_path):
    kept = KeptHeaders(2)
    files = [written(tmp_path / str(number), b"content") for number in range(3)]
    for path in files:
        kept.keep(path, identity(path), path.name.encode())
    assert [kept.of(path) for path in files] == [None, b"1", b"2"]


def test_one_that_is_kept_again_stays_longer(tmp_path):
    kept = KeptHeaders(2)
    first, second, third = (written(tmp_path / str(number), b"content") for number in range(3))
    for path in (first, second, first, third):
        kept.keep(path, identity(path), path.name.encode())
    assert [kept.of(path) for path in (first, second, third)] == [b"0", None, b"2"]


def test_a_file_that_changed_while_it_was_read_is_not_taken_for_what_was_read(tmp_path):
    kept, path = KeptHeaders(2), written(tmp_path / "file", b"before")
    before = identity(path)
    written(path, b"after, and longer")
    kept.keep(path, before, b"header")
    assert kept.of(path) is None


def test_nothing_is_kept_of_no_file_or_no_header(tmp_path):
    kept, path = KeptHeaders(2), written(tmp_path / "file", b"content")
    kept.keep(path, identity(path), b"")
    assert kept.of(path) is None
    absent = tmp_path / "absent"
    assert identity(absent) is None
    kept.keep(absent, None, b"header")
    assert kept.of(absent) is None
