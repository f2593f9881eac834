"""How the figures of ventricular function are called, in tables, reports and 3D Slicer."""

FUNCTION_NAMES = {
    "edv_ml": ("LV end-diastolic volume", "ml"),
    "esv_ml": ("LV end-systolic volume", "ml"),
    "sv_ml": ("LV stroke volume", "ml"),
    "ef_percent": ("LV ejection fraction", "%"),
    "mass_g": ("LV mass at end-diastole", "g"),
    "rv_edv_ml": ("RV end-diastolic volume", "ml"),
    "rv_esv_ml": ("RV end-systolic volume", "ml"),
    "rv_sv_ml": ("RV stroke volume", "ml"),
    "rv_ef_percent": ("RV ejection fraction", "%"),
}
"""Field of `VentricularFunction` → (name, unit)."""
