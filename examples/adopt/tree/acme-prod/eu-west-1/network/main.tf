terraform {
  backend "s3" {
    bucket = "acme-terraform-state"
    key    = "acme-prod/eu-west-1/network/terraform.tfstate"
    region = "us-east-1"
  }
}

resource "terraform_data" "network" {
  input = "acme-prod eu-west-1"
}
