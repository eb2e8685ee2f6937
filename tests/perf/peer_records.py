"""How the FastAPI service records an evaluation: a row through SQLAlchemy's ORM, with a commit of its own."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import JSON, create_engine, event
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, sessionmaker


class Base(DeclarativeBase):
    pass


class Record(Base):
    __tablename__ = "evaluations"

    id: Mapped[int] = mapped_column(primary_key=True)
    run_id: Mapped[str] = mapped_column(index=True)
    task_id: Mapped[str]
    status: Mapped[str]
    result: Mapped[Any] = mapped_column(JSON)
    created_at: Mapped[datetime] = mapped_column(default=lambda: datetime.now(UTC))


def recorder(path: str) -> Callable[[Any], None]:
    """Open the database, as durable as benchhost's own: write-ahead log, synchronised at every commit."""
    engine = create_engine(f"sqlite:///{path}", connect_args={"timeout": 60})

    @event.listens_for(engine, "connect")
    def durable(connection: Any, _: Any) -> None:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")

    Base.metadata.create_all(engine)
    sessions: sessionmaker[Session] = sessionmaker(engine)

    def record(evaluation: Any) -> None:
        with sessions.begin() as session:
            session.add(
                Record(
                    run_id=evaluation.run_id,
                    task_id=evaluation.task_id,
                    status=evaluation.status,
                    result=evaluation.result,
                )
            )

    return record
