import io
import pickle
from datetime import UTC, date, datetime
from decimal import Decimal
from threading import Barrier, Thread

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anypo.data.kept import INDEX, PROMPTS, TALLY, DataPickler, OnlyData, kept
from anypo.data.tally import Tally
from anypo.errors import DataError, SaveError
from anypo.hooks.batch import Completion, Prompt

HELD = {"chosen": Completion([4, 5], [True, False]), "rejected": Completion([6], truncated=True)}
PAIRS = [
    (1, Prompt([1, 2], "1+1", {"answer": "2"})),
    (3, Prompt([300_000], [{"role": "user", "content": "größer 中"}], {"level": None}, HELD)),
    (3, Prompt([], "", {"when": datetime(2026, 1, 2, tzinfo=UTC), "price": Decimal("1.50")})),
]


@pytest.fixture(autouse=True)
def _cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "anypo" / "tokens-key"


def reading(pairs, times=None):
    def read(tally):
        if times is not None:
            times.append(1)
        tally.total, tally.bad = 3, {2: "it is odd"}
        tally.too_long[7] = 900
        for number, prompt in pairs:
            tally.add(prompt)
            yield number, prompt

    return read


def never(tally):
    pytest.fail("it is read again")


def test_prompts_are_what_they_were(folder):
    for read in (reading(PAIRS), never):
        found = kept("mine", "key", read)
        assert list(found) == [prompt for _, prompt in PAIRS]
        assert list(found.numbers) == [1, 3, 3]
        assert (found.name, found[-1], found[1:]) == (
            "mine",
            PAIRS[2][1],
            [p for _, p in PAIRS[1:]],
        )
        expected = {"total": 3, "longest": 2, "largest": 300_000, "bad": {2: "it is odd"}}
        expected |= {"too_long": {7: 900}, "columns": ["answer", "level", "when", "price"]}
        assert found.tally == Tally(**expected)
    assert folder.is_dir()


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.dates(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


def written_and_read(value):
    stream = io.BytesIO()
    DataPickler(stream).dump(value)
    return OnlyData(io.BytesIO(stream.getvalue())).load()


@given(st.lists(st.integers(0, 2**31), max_size=5), VALUES)
def test_any_data_are_read_as_they_were_written(ids, value):
    prompt = Prompt(ids, "a", {"column": value})
    assert written_and_read(prompt) == prompt


def test_what_another_key_has_is_another():
    kept("mine", "key", reading(PAIRS))
    assert len(kept("mine", "other", reading(PAIRS[:1]))) == 1


@pytest.mark.parametrize("name", [PROMPTS, INDEX, TALLY, "MANIFEST.json"])
@pytest.mark.parametrize("damage", ["cut", "gone"])
def test_what_is_damaged_is_made_anew(folder, name, damage):
    kept("mine", "key", reading(PAIRS))
    file = folder / name
    file.write_bytes(file.read_bytes()[:-3]) if damage == "cut" else file.unlink()
    assert list(kept("mine", "key", reading(PAIRS))) == [prompt for _, prompt in PAIRS]
    assert len(kept("mine", "key", never)) == 3


def test_a_failure_leaves_nothing_behind(folder):
    def read(tally):
        yield PAIRS[0]
        raise DataError("row 2 cannot be read")

    with pytest.raises(DataError, match="row 2 cannot be read"):
        kept("mine", "key", read)
    assert [path.name for path in folder.parent.iterdir()] in ([], ["tokens-key.lock"])


def test_of_several_at_once_one_reads():
    times, start, found = [], Barrier(3), []

    def ask():
        start.wait()
        found.append(list(kept("mine", "key", reading(PAIRS, times))))

    threads = [Thread(target=ask) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(times), found) == (1, [[prompt for _, prompt in PAIRS]] * 3)


def test_a_full_disk_is_an_error_that_names_the_place(folder, monkeypatch):
    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("anypo.data.kept.np.save", fail)
    with pytest.raises(SaveError, match=r"tokens-key' cannot be written: No space left on device"):
        kept("mine", "key", reading(PAIRS))


def test_what_is_no_data_is_refused_with_its_row():
    class Image:
        pass

    with pytest.raises(DataError, match="row 4: a column holds a Image, which cannot be kept"):
        kept("mine", "key", reading([(4, Prompt([1], "a", {"picture": Image()}))]))


@pytest.mark.parametrize("value", [print, date.today, Exception("no"), DataError])
def test_nothing_but_data_is_read(value):
    with pytest.raises(KeyError):
        OnlyData(io.BytesIO(pickle.dumps(value))).load()
