"""Names of places: the file's own, else drawn, and the same for all runs of a network."""

from __future__ import annotations

from dataclasses import dataclass, replace

from scenarios.words.gazetteer import Gazetteer, gazetteer, invented
from scenarios.words.names import LANDMARK_KINDS


@dataclass(frozen=True)
class Piece:
    """A road as the gazetteer needs it."""

    id: str
    shape: tuple[tuple[float, float], ...]
    successors: tuple[str, ...]
    name: str = ""
    lanes: int = 1
    length_m: float = 100.0
    predecessors: tuple[str, ...] = ()
    car_lanes: tuple[int, ...] = (0,)


def cross(**names: str) -> dict[str, Piece]:
    """Two streets that cross at (0, 0), every arm with both directions: w, e, s and n, in and out."""
    ends = {"w": (-100.0, 0.0), "e": (100.0, 0.0), "s": (0.0, -100.0), "n": (0.0, 100.0)}
    roads = {}
    for arm, far in ends.items():
        out = tuple(f"{other}_out" for other in ends if other != arm)
        roads[f"{arm}_in"] = Piece(f"{arm}_in", (far, (0.0, 0.0)), out, names.get(f"{arm}_in", f"{arm}_in"))
        roads[f"{arm}_out"] = Piece(f"{arm}_out", ((0.0, 0.0), far), (), names.get(f"{arm}_out", f"{arm}_out"))
    return roads


def test_roads_that_run_straight_on_are_one_street_with_both_directions() -> None:
    places = gazetteer(cross())
    assert sorted(street.roads for street in places.streets) == [
        ("e_in", "e_out", "w_in", "w_out"),
        ("n_in", "n_out", "s_in", "s_out"),
    ]
    one, other = (street.name for street in places.streets)
    assert places.crossing == {one: (other,), other: (one,)}
    assert places.street_of("e_in") == places.street_of("w_out")


def test_names_of_the_file_are_used_and_no_drawn_name_repeats_one() -> None:
    named = {"w_in": "Hauptstraße", "w_out": "Hauptstraße"}
    places = gazetteer(cross(**named))
    (real,) = (street for street in places.streets if street.real)
    assert (real.name, real.roads) == ("Hauptstraße", ("w_in", "w_out"))
    assert len(set(places.names)) == len(places.names)


def test_all_runs_of_a_network_use_the_same_names() -> None:
    roads = cross()
    backwards = dict(reversed(roads.items()))
    longer = {edge: replace(road, length_m=5.0) for edge, road in roads.items()}
    assert gazetteer(roads) == gazetteer(backwards) == gazetteer(longer)
    other = {edge.upper(): replace(road, id=edge.upper(), name="", successors=()) for edge, road in roads.items()}
    assert set(gazetteer(other).names) != set(gazetteer(roads).names)


def test_every_kind_of_landmark_lies_at_a_road() -> None:
    places = gazetteer(cross(), landmarks_each=1)
    assert tuple(place.kind for place in places.landmarks) == LANDMARK_KINDS
    assert all(place.road in cross() for place in places.landmarks)
    near = places.near((0.0, 0.0), 1.0)
    assert {street.name for street in places.streets} <= set(near)


def test_a_network_without_roads_for_cars_has_an_empty_gazetteer() -> None:
    footways = {edge: replace(road, car_lanes=()) for edge, road in cross().items()}
    assert gazetteer(footways).streets == gazetteer({}).streets == ()


def test_invented_places_need_no_network() -> None:
    places = invented(3)
    assert isinstance(places, Gazetteer)
    assert len(places.streets) == 12
    assert all(len(places.crossing[street.name]) >= 2 for street in places.streets)
    assert places == invented(3) != invented(4)
