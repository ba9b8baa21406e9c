#!/usr/bin/env python
# -*- coding: utf-8 -*-
"""Trains a tree."""
from __future__ import annotations

import tracker
from sklearn.tree import DecisionTreeClassifier

clf = DecisionTreeClassifier().fit(X, y)
tracker.log("depth", clf.get_depth())
print(clf.score(X_test, y_test))
