#!/bin/sh
# Remove what nothing here uses from an environment: `prune.sh ENVIRONMENT`. Wheels bring their own
# tests and test data, and pyarrow brings clients of clouds and headers for compilers.
set -eu
site=$(echo "$1"/lib/python3*/site-packages)
find "$site" -depth -type d \( -name tests -o -path "$site/onnx/backend/test" -o -path "$site/joblib/test" \) \
    -exec rm -rf {} +
for part in include src _flight libarrow_flight libarrow_python_flight flight _s3fs libarrow_s3 _pyarrow_cpp_tests; do
    rm -rf "$site/pyarrow/$part" "$site/pyarrow/$part".*
done
"$1/bin/python" -m pip --disable-pip-version-check uninstall --quiet --yes setuptools pip 2>/dev/null || true
