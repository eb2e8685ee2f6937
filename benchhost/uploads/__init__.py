"""Keeps what is uploaded before it is judged: in a folder of this machine, or in a bucket.

:class:`Uploads` says what either does. Whoever uploads is given a URL that is good for one key and an hour, and
needs no other credential; whoever judges reads what lies under the key.
"""

from benchhost.uploads.bucket import Bucket
from benchhost.uploads.places import Place
from benchhost.uploads.protocol import EXPIRES_IN, Announced, Uploads
from benchhost.uploads.signing import Permit
from benchhost.uploads.spool import PATH, Received, Spool

__all__ = ["EXPIRES_IN", "PATH", "Announced", "Bucket", "Permit", "Place", "Received", "Spool", "Uploads"]
