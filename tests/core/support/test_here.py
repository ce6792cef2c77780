"""Things stay in their process."""

import copy
import pickle
from threading import Lock

from anypo.support.here import Here


def test_copies_are_the_same_one():
    lent = Here(3, Lock())  # which cannot be copied
    assert copy.deepcopy([lent]) == pickle.loads(pickle.dumps([lent])) == [lent]


def test_elsewhere_it_is_known_who_has_it():
    lent = Here(3, Lock())
    sent = pickle.dumps(lent)
    del lent
    assert (pickle.loads(sent).rank, pickle.loads(sent).thing) == (3, None)
