"""A hospital whose pages are served by a real server, and its readers, each with a browser of their own."""

from contextlib import contextmanager
from urllib.parse import urlsplit

from support.ports import free_port
from support.site import PASSWORD, Hospital
from support.xrays import picture, radiograph

from triage_agent.web.server import WebServer

PATIENCE = 30_000  # milliseconds; a slow machine is no fault of the page's


class Served:
    """A hospital whose pages are served."""

    def __init__(self, folder, chromium, **settings):
        self.hospital = Hospital(folder, **settings)
        self.folder = folder
        self._chromium = chromium
        self.radiograph("1.2.1.1")
        port = free_port()
        self.base = f"http://127.0.0.1:{port}"
        self._server = WebServer(self.hospital.app, "127.0.0.1", port)
        self._server.start()
        self._contexts = []
        self.complaints = []

    def radiograph(self, image, number=1):
        radiograph(picture(number, 240, 200)).save_as(self.folder / f"{image}.dcm", enforce_file_format=True)

    def open(self, **options):
        """A page of a browser of its own; whatever goes wrong in it is a complaint."""
        context = self._chromium.new_context(base_url=self.base, **options)
        context.set_default_timeout(PATIENCE)
        self._contexts.append(context)
        page = context.new_page()
        page.on("console", self._heard)
        page.on("pageerror", lambda error: self.complaints.append(f"script: {error}"))
        page.on("request", self._asked)
        return page

    def reader(self, name="radiologist", then="/", **options):
        """The same, signed in by the form."""
        page = self.open(**options)
        page.goto(f"/login?next={then}" if then != "/" else "/")
        page.get_by_label("Name").fill(name)
        page.get_by_label("Password").fill(PASSWORD)
        page.get_by_role("button", name="Sign in").click()
        page.wait_for_url(f"{self.base}{then}")
        return page

    @contextmanager
    def refusals(self):
        """What the browser complains of within is expected: it logs each answer that is an error."""
        before = len(self.complaints)
        yield
        mine = self.complaints[before:]
        assert all("Failed to load resource" in one for one in mine), mine
        del self.complaints[before:]

    def close(self):
        for context in self._contexts:
            context.close()
        self._server.stop()
        self.hospital.engine.dispose()

    def _heard(self, message):
        if message.type in {"error", "warning"}:
            self.complaints.append(f"console: {message.text}")

    def _asked(self, request):
        parts = urlsplit(request.url)
        if parts.scheme != "data" and f"{parts.scheme}://{parts.netloc}" != self.base:
            self.complaints.append(f"asked another host: {request.url}")
