@faults @kubernetes @gate
Feature: Rolling back while the API server is silent

  The control plane has no time for anybody, and users are served all the while, badly. Nothing can be rolled back until it
  answers, and whoever got no answer does not know what has happened.

  Background:
    Given the service "stand"
    And 40 journeys per second by 20 users

  Scenario: The rollback asks again until there is an answer
    When release "v2-misprints" is deployed over "v1"
    Then users are harmed
    When it is rolled back by the plan "asks-until-it-answers"
    And the API server is paused before step 1, until step 1 has ended
    Then service is restored within 5 minutes
    And every instance serves the target release
