"""The clubs of the demo league: each name as it should be, and as the two feeds misspell it."""

from typing import NamedTuple


class Club(NamedTuple):
    """A club.

    Attributes:
        name: what belongs in the table: single spaces, composed characters (NFC).
        rest: what the REST feed writes; cleaned it is the name.
        live: what the WebSocket feed writes; cleaned it is the name.
    """

    name: str
    rest: str
    live: str


CLUBS = (
    Club("Ashford Town", "Ashford Town", "Ashford Town"),
    Club("Brook & Hollow", "Brook  &  Hollow", "Brook &\u00a0Hollow"),
    Club("Česká Lípa", "C\u030ceska\u0301 Li\u0301pa", "Česká Lípa"),
    Club("Dunmore Rovers", " Dunmore Rovers ", "Dunmore Rovers"),
    Club("Eastcliff", "Eastcliff", "Eastcliff\n"),
    Club("Fjällby IF", "Fja\u0308llby IF", "Fjällby  IF"),
    Club("Grünfeld 09", "Grünfeld 09", "Gru\u0308nfeld\u2009 09"),
    Club("Harrow Vale", "Harrow\tVale", "Harrow Vale"),
    Club("Île-aux-Loups", "Île-aux-Loups ", "I\u0302le-aux-Loups"),
    Club("Jutland BK", "Jutland BK", "Jutland\u00a0BK"),
    Club("Kingsmill Albion", "Kingsmill   Albion", "Kingsmill Albion"),
    Club("La Peña", "La Pen\u0303a", "La Peña"),
    Club("Millrace United", "Millrace United", "Millrace United"),
    Club("Northgate", "\u2003Northgate", "Northgate"),
    Club("O'Hara's XI", "O'Hara's XI", " O'Hara's  XI"),
    Club("Port Sable", "Port\u3000Sable", "Port Sable"),
    Club("Queensferry", "Queensferry", "Queensferry"),
    Club("Rīga Dzirnavas", "Ri\u0304ga Dzirnavas", "Rīga\u00a0 Dzirnavas"),
    Club("Stonebridge", "Stonebridge  ", "Stonebridge"),
    Club("千代田 FC", "千代田\u3000FC", "千代田 FC"),
)
