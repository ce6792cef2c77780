from anypo.data.bad_rows import told


def test_one_row_is_told_of_with_its_reason():
    assert told("mine", {7: "'prompt' is null"}, 9) == "row 7 of 'mine': 'prompt' is null"


def test_rows_of_one_reason_are_told_of_together():
    bad = {2: "it is empty", 3: "it is odd", 5: "it is empty"}
    assert told("mine", bad, 9) == (
        "3 of 9 rows of 'mine' cannot be used: rows 2, 5: it is empty; row 3: it is odd"
    )


def test_many_rows_and_many_reasons_are_cut_short():
    bad = dict.fromkeys(range(1, 8), "it is empty") | {i: f"it is {i}" for i in range(10, 16)}
    assert told("mine", bad, 20) == (
        "13 of 20 rows of 'mine' cannot be used: rows 1, 2, 3, 4, 5 and 2 more: it is empty; "
        "row 10: it is 10; row 11: it is 11; row 12: it is 12; row 13: it is 13; "
        "and 2 further reasons"
    )
