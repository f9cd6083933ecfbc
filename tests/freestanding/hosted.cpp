// Not freestanding: what tests/scripts/freestanding must refuse.

int* leak() { return new int{1}; }
