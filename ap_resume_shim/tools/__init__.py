"""The commands `explain` (the requests of a resume), `backends` (descriptions) and `report` (counts of sidecars)."""
