"""Asking a host: the client of one benchmark, wherever it is served."""

from benchhost.client.answers import ListedTask, Outcome, Score, ServiceVersion, TaskEnvironment, Tasks
from benchhost.client.client import Client
from benchhost.client.transport import Retries

__all__ = ["Client", "ListedTask", "Outcome", "Retries", "Score", "ServiceVersion", "TaskEnvironment", "Tasks"]
