"""The lab: real incidents of queue consumers, each reproduced, explained and put right.

``qtune.lab.incident_names()`` lists them, ``load_incident("A1")`` reads one, and ``reproduce`` runs it: as reported,
after the fix of its source, and with the recommender's own answer for the same workload; ``survey`` runs them all.
``qtune.describe`` makes a report of an incident, of all of them, of a reproduction and of a survey.
"""

from qtune.lab.incident import RULES, Incident, Range
from qtune.lab.measures import MEASURES, Measure
from qtune.lab.reproduction import Observed, Reproduction, Survey, incident_to_dict, reproduce, survey
from qtune.lab.shelf import incident_names, incidents, load_incident

__all__ = [
    "MEASURES",
    "RULES",
    "Incident",
    "Measure",
    "Observed",
    "Range",
    "Reproduction",
    "Survey",
    "incident_names",
    "incident_to_dict",
    "incidents",
    "load_incident",
    "reproduce",
    "survey",
]
