"""Figures of the record for people who look after a line: by shift, by kind of defect, over time;
what a review tells, and what leaves the record."""
