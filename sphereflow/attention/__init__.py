"""The attention field: Laplace-transform sums, velocity, mobility, energy."""

from .average import tangential
from .field import AttentionField, attention_field, velocity_of
from .grid_field import BUDGET_RATES, KEPT_FIELD, FieldSample, GridField, vector_power
from .head_accuracy import quadrature_error, remedy
from .measure import transform_of_coefficients, transform_of_density, transform_of_points
from .point_field import KeptMoments, PointField, PointSample
from .token_field import TokenField, TokenSample
from .transform import LaplaceTransform, ScaledTransform

__all__ = [
    "BUDGET_RATES",
    "KEPT_FIELD",
    "AttentionField",
    "FieldSample",
    "GridField",
    "KeptMoments",
    "LaplaceTransform",
    "PointField",
    "PointSample",
    "ScaledTransform",
    "TokenField",
    "TokenSample",
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
