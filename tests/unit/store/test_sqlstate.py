"""What an error of the driver means."""

import asyncpg
import pytest

from service.errors import StoreLost
from service.store.sqlstate import faults


def test_a_driver_that_trips_over_a_shutdown_between_two_statements_means_the_database_is_away() -> None:
    said = "cannot switch to state 11; another operation (2) is in progress"
    with pytest.raises(StoreLost, match="another operation"), faults():
        raise asyncpg.InternalClientError(said)
