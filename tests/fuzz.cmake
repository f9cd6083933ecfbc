# Fuzz targets: one executable for each tests/fuzz/x_fuzz.cpp.
file(GLOB sources CONFIGURE_DEPENDS fuzz/*_fuzz.cpp)
