#!/usr/bin/env bash
# Lints the pipelines in examples/pipelines: GitHub's with actionlint (the first
# argument), all YAML with yamllint, and the Jenkinsfile with Groovy's own parser:
# a declarative pipeline is Groovy, and what Jenkins adds are names, which
# test/pipelines checks.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
actionlint=$1

for program in yamllint groovy; do
  command -v "$program" >/dev/null || { echo "$program is not installed: 'make tools' installs it" >&2; exit 1; }
done
"$actionlint" examples/pipelines/github.yml
yamllint -d '{extends: default, rules: {line-length: disable, document-start: disable, truthy: {check-keys: false}, brackets: disable, comments: disable}}' examples/pipelines/*.yml
# Debian's groovy looks for a Java that only default-jre brings; any will do.
java=$(readlink -f "$(command -v java)" || true)
[ -x /usr/lib/jvm/default-java/bin/java ] || export JAVA_HOME=${JAVA_HOME:-${java%/bin/java}}
groovy -e 'new groovy.lang.GroovyShell().parse(new File(args[0]))' examples/pipelines/Jenkinsfile
