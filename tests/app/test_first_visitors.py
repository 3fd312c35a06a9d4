"""Visitors who come while the app is starting: real sessions on a real server."""

import asyncio

from benchmarks._visitors import ROOT, Visitor, serving

PAGES = ("blend", "", "models", "live", "train", "blend", "models", "")


class _First(Visitor):
    """Also notes what went wrong, and which pages the menu has."""

    exceptions, menu = 0, ()

    async def _receive(self):
        reply = await super()._receive()
        if reply.WhichOneof("type") == "navigation":
            self.menu = tuple(page.page_name for page in reply.navigation.app_pages)
        elif reply.WhichOneof("type") == "delta" and reply.delta.new_element.WhichOneof("type") == "exception":
            self.exceptions += 1
        return reply


async def _visit(address: str, page: str, after: float) -> tuple[str, int, tuple[str, ...]]:
    await asyncio.sleep(after)
    async with _First(address, page) as visitor:
        return page, visitor.exceptions, visitor.menu


def test_who_opens_any_page_of_an_app_that_is_starting_gets_it_whole(tmp_path):
    """Streamlit runs each visitor's page in a thread of its own: the modules of all pages are imported at once."""
    lab = {"CIFAR_LAB_RUNS": str(tmp_path / "runs"), "CIFAR_LAB_CACHE": str(tmp_path / "cache")}
    menu = ("Classify", "Blend", "Live", "Train", "Models")
    for start in range(2):
        with serving(ROOT / "streamlit_app.py", tmp_path, lab) as server:

            async def all_at_once(address=server.address, start=start):
                order = PAGES[start:] + PAGES[:start]
                return await asyncio.gather(*(_visit(address, page, 0.05 * n) for n, page in enumerate(order)))

            seen = asyncio.run(all_at_once())
        assert seen == [(page, 0, seen[0][2]) for page, *_ in seen]
        assert [name.title() for name in seen[0][2]] == list(menu), "the menu is that of the folder pages/"
