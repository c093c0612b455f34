#!/bin/sh
# deploy.sh ENVIRONMENT
set -eu
environment="$1"
cd "$(dirname "$0")/app"
terraform init -input=false
terraform workspace select "search-${environment}" || terraform workspace new "search-${environment}"
terraform apply -var-file="env/${environment}.tfvars"
