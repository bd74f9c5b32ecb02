@control @kubernetes @gate
Feature: Control: fresh pods where a flag is bad

  Nothing was deployed, so the pods are started anew, as one does. The flag is on as before.

  Background:
    Given the service "stand"
    And 40 journeys per second by 20 users

  Scenario: The flag stays on
    When release "v2-happy-hour" is deployed over "v1"
    Then users are harmed
    When it is rolled back by the plan "starts-them-anew"
    Then the drill fails because "every instance serves the target release"
