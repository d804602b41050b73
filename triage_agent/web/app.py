"""Health, readiness and metrics: what probes and Prometheus ask of every role."""

from collections.abc import Callable, Iterable, Mapping

from fastapi import APIRouter, FastAPI, Response
from fastapi.responses import JSONResponse

from triage_agent.domain.errors import TriageError
from triage_agent.web.site.rules import require_rows
from triage_agent.web.site.site import Site

# What readiness asks: a name, and a call that raises with the reason when that part is not ready.
ReadinessChecks = Mapping[str, Callable[[], None]]


def build_app(
    checks: ReadinessChecks,
    metrics: Callable[[], bytes],
    version: str,
    routers: Iterable[APIRouter] = (),
    site: Site | None = None,
) -> FastAPI:
    """The HTTP application; no page of documentation is served.

    `routers` are what a site has switched on besides; each admits its own callers. `site` are the pages.

    Raises:
        LookupError: a route stands in no row of who may use it.
    """
    app = FastAPI(title="triage-agent", version=version, docs_url=None, redoc_url=None, openapi_url=None)

    @app.get("/healthz")
    def healthz() -> dict[str, str]:
        return {"status": "up", "version": version}

    @app.get("/readyz")
    def readyz() -> JSONResponse:
        problems = _problems(checks)
        return JSONResponse({"ready": not problems, "problems": problems}, status_code=503 if problems else 200)

    @app.get("/metrics")
    def exposition() -> Response:
        return Response(metrics(), media_type="text/plain; version=0.0.4; charset=utf-8")

    for router in routers:
        app.include_router(router)
    if site is not None:
        site.join(app, checks)
    require_rows(app)
    return app


def _problems(checks: ReadinessChecks) -> dict[str, str]:
    problems = {}
    for name, check in dict(checks).items():  # a copy: parts that start and stop come and go meanwhile
        try:
            check()
        except TriageError as error:
            problems[name] = str(error)
    return problems
