"""The escape suite: attacks that are carried out in sandboxes, to see whether they are kept in there.

Each module has the attacks of a kind. :mod:`.attack` says what one consists of, :mod:`.program` how one speaks,
:mod:`.scene` what surrounds it on the host, :mod:`.suite` how they are carried out.
"""
