@kubernetes @gate
Feature: Rolling back by kubectl rollout undo

  A release is a revision of a Deployment. To go back is to undo the last one: Kubernetes has kept it, and replaces
  the pods one after the other.

  Background:
    Given the service "stand"
    And 40 journeys per second by 20 users

  Scenario: The pods of before come back
    When release "v2-misprints" is deployed over "v1"
    Then users are harmed
    When it is rolled back by its plan
    Then service is restored within 5 minutes
