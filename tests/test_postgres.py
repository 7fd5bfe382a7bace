"""The PostgreSQL server that tests can ask for."""

import pytest
import sqlalchemy as sa

pytestmark = pytest.mark.postgres


def test_sqlalchemy_connects_to_a_database_by_its_url(postgres):
    """The extra `postgres` installs the driver."""
    engine = sa.create_engine(postgres())
    with engine.connect() as connection:
        assert connection.execute(sa.text("select 1")).scalar_one() == 1
    engine.dispose()


def test_databases_are_empty_and_separate(postgres):
    """A table of one database is not in another."""
    first, second = (sa.create_engine(postgres()) for _ in range(2))
    with first.begin() as connection:
        connection.execute(sa.text("create table seen (number integer)"))
    tables = sa.inspect(second).get_table_names()
    first.dispose()
    second.dispose()
    assert tables == []
