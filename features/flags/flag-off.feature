@flags @gate
Feature: Rolling back by a feature flag

  v2-happy-hour came behind a flag and is turned on at the flag server. Nothing is deployed to roll it back: the flag is
  turned off, and each instance obeys when it next asks for it. The command has returned long before the last one does.

  Background:
    Given the service "cafe"
    And 40 journeys per second by 20 users

  Scenario: The plan turns the flag off and every instance obeys
    When release "v2-happy-hour" is deployed over "v1"
    Then users are harmed
    When it is rolled back by its plan
    Then service is restored within 30 seconds
    And every instance serves the target release
