@infrastructure @opentofu
Feature: Rolling back infrastructure while somebody else holds the lock

  Somebody began to apply something else and was called away: his session waits for an answer, and holds the lock of the
  state. The rollback waits until he lets go, for as long as the plan says.

  Background:
    Given the service "buffet"
    And 40 journeys per second by 20 users

  Scenario: The plan waits for the lock
    When release "v2-unattended" is deployed over "v1"
    Then users are harmed
    When it is rolled back by its plan
    Then service is restored within 3 minutes
