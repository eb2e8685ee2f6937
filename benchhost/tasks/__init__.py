"""Datasets: where tasks come from, how they are indexed and fingerprinted, and how some of them are chosen."""

from benchhost.tasks.dataset import Catalogue, Dataset, catalogue, index, key_of
from benchhost.tasks.fingerprint import dataset_fingerprint, keyed_digest, task_digest
from benchhost.tasks.sampling import sample
from benchhost.tasks.slices import parse_slice, select
from benchhost.tasks.sources import read_archive, read_csv, read_jsonl

__all__ = [
    "Catalogue",
    "Dataset",
    "catalogue",
    "dataset_fingerprint",
    "index",
    "key_of",
    "keyed_digest",
    "parse_slice",
    "read_archive",
    "read_csv",
    "read_jsonl",
    "sample",
    "select",
    "task_digest",
]
