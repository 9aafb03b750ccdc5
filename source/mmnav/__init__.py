"""mmnav: learning visual navigation. What lives here runs without a simulator."""

__version__ = "0.1.0"
