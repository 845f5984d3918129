"""Grading, for course authors."""


def add_options(parser): ...


def grade(options): ...
