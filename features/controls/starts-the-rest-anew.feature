@control @kubernetes @gate
Feature: Control: fresh pods in place of those that were good

  The canary is a Deployment of its own. The other one, which everybody knows, is started anew; the canary goes on.

  Background:
    Given the service "stand"
    And 60 journeys per second by 30 users

  Scenario: The canary stays
    When release "v2-misprints-canary" is deployed over "v1"
    Then users are harmed
    When it is rolled back by the plan "starts-the-rest-anew"
    Then the drill fails because "every instance serves the target release"
