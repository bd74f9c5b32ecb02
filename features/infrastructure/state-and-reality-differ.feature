@infrastructure @opentofu
Feature: Rolling back infrastructure whose state does not say what is there

  Somebody changed the prices where they lie. Version control and state say that v1 is in force, and to apply it does
  nothing. The rollback replaces everything, whatever the state says.

  Background:
    Given the service "buffet"
    And 40 journeys per second by 20 users

  Scenario: The plan replaces what the state holds for right
    When release "v2-by-hand" is deployed over "v1"
    Then users are harmed
    When it is rolled back by its plan
    Then service is restored within 2 minutes
