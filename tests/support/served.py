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
        self._complaints = []  # what was said, and of which address
        self._errors = []  # addresses whose answer was one
        self._refused = {}  # those of them, and of complaints, that were expected; since which complaint

    @property
    def complaints(self):
        """What went wrong in the pages, but for what was expected."""
        said = enumerate(self._complaints)
        return [
            what for at, (what, address) in said if not (_is_refusal(what) and at >= self._refused.get(address, at + 1))
        ]

    def radiograph(self, image, number=1):
        radiograph(picture(number, 240, 200)).save_as(self.folder / f"{image}.dcm", enforce_file_format=True)

    def open(self, **options):
        """A page of a browser of its own; whatever goes wrong in it is a complaint."""
        context = self._chromium.new_context(base_url=self.base, **options)
        context.set_default_timeout(PATIENCE)
        self._contexts.append(context)
        page = context.new_page()
        page.on("console", self._heard)
        page.on("pageerror", lambda error: self._complaints.append((f"script: {error}", page.url)))
        page.on("request", self._asked)
        page.on("response", lambda answer: self._errors.append(answer.url) if answer.status >= 400 else None)
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
        """What the browser complains of within is expected: it logs each answer that is an error.

        So is what it says later of the same addresses: a script asks again, or the message comes after its effect.
        """
        complaints, errors = len(self._complaints), len(self._errors)
        yield
        mine = self._complaints[complaints:]
        assert all(_is_refusal(said) for said, _ in mine), mine
        for address in {address for _, address in mine} | set(self._errors[errors:]):
            self._refused.setdefault(address, complaints)

    def close(self):
        for context in self._contexts:
            context.close()
        self._server.stop()
        self.hospital.engine.dispose()

    def _heard(self, message):
        if message.type in {"error", "warning"}:
            self._complaints.append((f"console: {message.text}", message.location["url"]))

    def _asked(self, request):
        parts = urlsplit(request.url)
        if parts.scheme != "data" and f"{parts.scheme}://{parts.netloc}" != self.base:
            self._complaints.append((f"asked another host: {request.url}", request.url))


def _is_refusal(said):
    return said.startswith("console: Failed to load resource")
