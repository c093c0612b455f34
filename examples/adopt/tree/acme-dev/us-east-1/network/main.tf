terraform {
  backend "s3" {
    bucket = "acme-terraform-state"
    key    = "acme-dev/us-east-1/network/terraform.tfstate"
    region = "us-east-1"
  }
}

resource "terraform_data" "network" {
  input = "acme-dev us-east-1"
}
