"""The attention field: Laplace-transform sums, velocity, mobility, energy."""

from .average import tangential
from .energy import BUDGET_RATES, EnergyTerms
from .field import AttentionField, attention_field, velocity_of
from .grid_field import FieldSample, GridField, GridFieldState, vector_power
from .head_accuracy import quadrature_error, remedy
from .measure import (
    KeptMoments,
    Source,
    WeightedPoints,
    transform_of_coefficients,
    transform_of_density,
    transform_of_points,
)
from .point_field import PointField, PointFieldState, PointSample
from .specification import FieldSpecification
from .token_field import TokenField, TokenFieldState, TokenSample
from .transform import LaplaceTransform, ScaledTransform

__all__ = [
    "BUDGET_RATES",
    "AttentionField",
    "EnergyTerms",
    "FieldSample",
    "FieldSpecification",
    "GridField",
    "GridFieldState",
    "KeptMoments",
    "LaplaceTransform",
    "PointField",
    "PointFieldState",
    "PointSample",
    "ScaledTransform",
    "Source",
    "TokenField",
    "TokenFieldState",
    "TokenSample",
    "WeightedPoints",
    "attention_field",
    "quadrature_error",
    "remedy",
    "tangential",
    "transform_of_coefficients",
    "transform_of_density",
    "transform_of_points",
    "vector_power",
    "velocity_of",
]
