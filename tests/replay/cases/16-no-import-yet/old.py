#!/usr/bin/env python
# -*- coding: utf-8 -*-
"""Trains a tree."""
from __future__ import annotations

from sklearn.tree import DecisionTreeClassifier

clf = DecisionTreeClassifier().fit(X, y)
print(clf.score(X_test, y_test))
