@kubernetes @gate
Feature: Rolling back a change of a ConfigMap alone

  Prices are in a ConfigMap, and a change of it is all that was deployed. The old one is applied, and new pods read
  it.

  Background:
    Given the service "stand"
    And 40 journeys per second by 20 users

  Scenario: The prices of before come back
    When release "v2-free-soup" is deployed over "v1"
    Then users are harmed
    When it is rolled back by its plan
    Then service is restored within 5 minutes
