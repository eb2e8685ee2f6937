"""Routes by which a host seals what it has scored, and gives the key by which that is verified."""

from __future__ import annotations

import msgspec
from litestar import get
from litestar.di import NamedDependency

from benchhost.errors import (
    GradingFailed,
    NotOffered,
    ResultWithheld,
    RunRefused,
    StoreFailed,
    UnknownDataset,
    UnknownRun,
    UsageError,
)
from benchhost.evaluation.requests import Context
from benchhost.log import get_logger
from benchhost.receipts import Receipt, SigningKey, encoded
from benchhost.server.documented import documented
from benchhost.server.host import Host
from benchhost.server.problems import Conflict
from benchhost.server.raw import Call, Reply, raw_post
from benchhost.wire.native import ReceiptKey, SealRequest

_log = get_logger()

_request = msgspec.json.Decoder(SealRequest)


@get("/v1/receipts/key", tags=["receipts"], opt=documented(raises=[NotOffered]))
async def receipt_key(host: NamedDependency[Host]) -> ReceiptKey:
    """Give the public key by which receipts of this host are verified."""
    key = _key(host).public
    return ReceiptKey(id=key.id, pem=key.pem)


@raw_post(
    "/v1/receipts",
    tags=["receipts"],
    body=SealRequest,
    answer=Receipt,
    raises=[NotOffered, UnknownDataset, UnknownRun, ResultWithheld, Conflict, GradingFailed, StoreFailed],
)
async def seal(call: Call) -> Reply:
    """Seal a run that has ended, or what was submitted under a run id, as this host has recorded it."""
    request = call.decoded(_request)
    catalogue = await call.admitted.catalogue(call.benchmark, request.dataset)
    from benchhost.server.sealing import sealed_run, sealed_score

    host = call.host
    _key(host)
    try:
        record = await host.store.run(request.run_id)
        if record is not None and (record.benchmark, record.tenant, record.dataset) == (
            call.benchmark.name,
            call.tenant,
            catalogue.name,
        ):
            receipt = await sealed_run(host.store, record, host.settings.state, entries=request.entries)
        else:
            context = Context(call.tenant, catalogue.name, request.run_id, catalogue.version or "")
            receipt = await sealed_score(
                call.benchmark, host.evaluator, context, host.settings.state, entries=request.entries
            )
    except RunRefused:
        raise Conflict("The run has not ended, or is still being judged. Ask again when it is.") from None
    return Reply(encoded(receipt))


def _key(host: Host) -> SigningKey:
    from benchhost.server.sealing import signing_key

    try:
        return signing_key(host.settings.state)
    except UsageError as error:
        _log.warning("nothing can be sealed", cause=str(error))
        raise NotOffered("This host seals nothing: its operator can see why in its log.") from None
