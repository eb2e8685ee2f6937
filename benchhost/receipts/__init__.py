"""Signed receipts: what a host has scored, in a form that can be verified later, elsewhere and by anybody.

Knows neither host nor store: :mod:`benchhost.server.sealing` collects what is to be sealed.
"""

from benchhost.receipts.entries import Entry, Outcome, entry
from benchhost.receipts.keys import PublicKey, SigningKey
from benchhost.receipts.merkle import Tree, root_of_path
from benchhost.receipts.receipt import Proof, Receipt, Statement, encoded, prove, seal
from benchhost.receipts.verification import Fault, Verification, verify

__all__ = [
    "Entry",
    "Fault",
    "Outcome",
    "Proof",
    "PublicKey",
    "Receipt",
    "SigningKey",
    "Statement",
    "Tree",
    "Verification",
    "encoded",
    "entry",
    "prove",
    "root_of_path",
    "seal",
    "verify",
]
